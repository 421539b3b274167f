"""Shortcuts that make commands faster and change no result.

Each module says its gain, the test that notices when it no longer holds, and when it can go. A shortcut whose gain is
under 0.05 s a run is not worth its oddity.
"""
