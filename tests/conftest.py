"""What all tests share: property tests have no deadline, as a busy machine is no failure."""

from hypothesis import settings

settings.register_profile("enodo", deadline=None, max_examples=50)
settings.load_profile("enodo")
