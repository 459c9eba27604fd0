"""The main job on a screen: two districts in, three scoped apps and their signed webhooks out.

Everything goes through the hub's public doors, the admin API, OneRoster and webhooks, in processes of their own.
"""

from hub.demo.run import run_demo

__all__ = ["run_demo"]
