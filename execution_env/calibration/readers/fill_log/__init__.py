"""Fill logs: a trader's own child orders and their fills, as a desk exports them."""

from execution_env.calibration.readers.fill_log.faults import FaultyLogError
from execution_env.calibration.readers.fill_log.log import FillLog, read_fill_log

__all__ = ["FaultyLogError", "FillLog", "read_fill_log"]
