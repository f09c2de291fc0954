"""Campaigns: the commands on inputs that are damaged by seed, killed at random moments, and on a disk that fills up.

``python -m tests.campaigns --cases 2000 --kills 200`` takes a night; the tests run a short one. It needs Unix: every
case runs in a fork of a process that has imported all before.
"""
