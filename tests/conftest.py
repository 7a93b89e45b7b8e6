"""What holds for every test."""

import signal

from hypothesis import HealthCheck, settings

# An example that takes long says only that the machine is busy; a test that hangs is ended by pytest's own timeout.
settings.register_profile("sheaf", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("sheaf")

# A shell that starts the tests in the background has them ignore Ctrl-C, and everything they start would too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
