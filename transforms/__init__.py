"""Pure transforms: frames and values in, frames, values and issues out. No I/O, no clock, no globals that change."""
