"""What an order looks like: a line per bucket, and a picture."""
class Recorder:
    def __init__(self,*a): pass
    def start(self): pass
    def record(self): pass
