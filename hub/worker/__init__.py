"""The worker process: it syncs and delivers. The only room, with the command line, that knows arq.

Redis rings the bell and remembers nothing that matters: what is to be done stands in PostgreSQL, and every loop here
looks there by itself every few seconds.
"""

from hub.worker.process import run_worker

__all__ = ["run_worker"]
