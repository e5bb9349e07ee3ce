"""One request budget for all processes and machines that ask from one address.

`budget` spends, `account` is what was spent, `store` is where processes share it. What a request weighs and what is
allowed is the venue's and handed in. Called by `exchange.<venue>`.
"""
