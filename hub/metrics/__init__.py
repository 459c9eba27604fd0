"""What operators measure, in the form of Prometheus. ``known`` declares every metric once; docs/metrics.md lists them.

Labels are few and fixed: no app, district, subscription or person is ever one.
"""
