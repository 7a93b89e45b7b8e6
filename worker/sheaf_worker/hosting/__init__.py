"""Processes of programs, beside the pool: a worker starts them, passes on what they print, and reports their ends.

Redis: who starts what ──► host.py ──► admission.py: taken once, signed? ──► hosted_process.py ──► main.py (the process)
                              ▲                                                     │ text, end
Redis: printed, ended ◄── relay.py ◄──────────────── lines.py ◄─────────────────────┘
"""
