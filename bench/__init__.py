"""What rheostat costs, against the plain way of doing the same.

Each file measures one thing in one process: rheostat's way and the plain way take turns, and what they computed is
compared. A benchmark fails when the results disagree, never because of a time.
"""
