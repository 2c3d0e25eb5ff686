"""The environment in other libraries, each in a virtual environment of its own: ``.ci/plug-ins``."""
