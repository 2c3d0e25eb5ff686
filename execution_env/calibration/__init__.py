"""From a user's own market data to a scenario: readers, child orders, estimates, files.

Data flows one way: a reader makes a ``tape.Tape`` of a stock-day, child orders are walked through it
(``outcomes.Outcomes``), and their law is estimated and written as a scenario file and as days that can
be replayed.
"""
