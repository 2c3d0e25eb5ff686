"""From a user's own market data to a scenario: readers, child orders, estimates, files.

Data flow one way. A reader makes a ``tape.Tape`` of a stock-day. The simulator walks child orders
through it and returns ``outcomes.Outcomes``. Their law is fitted and written as a scenario file,
and as days that can be replayed.
"""
