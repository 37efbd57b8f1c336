"""Tests of the files API."""
