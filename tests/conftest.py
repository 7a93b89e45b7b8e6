"""What holds for every test."""

from hypothesis import HealthCheck, settings

# An example that takes long says only that the machine is busy; a test that hangs is ended by pytest's own timeout.
settings.register_profile("sheaf", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("sheaf")
