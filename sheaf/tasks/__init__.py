"""Tasks: what is applied to each item. The built-in `load` and `exec`, or the user's `module:function`."""
