"""How a served model is watched: what is measured, how far chance moves it, when that is an alarm.

Pure: frames and arrays in, numbers and sentences out. `drift_monitor` is the door to it.
"""
