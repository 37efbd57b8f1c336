"""Tests of the page for trying a service, in Chromium."""
