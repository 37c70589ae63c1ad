"""Helpers under the paths that Captum has them at."""
