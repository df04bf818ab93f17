"""How long goalpost keeps what: ages, and the erasure of one visitor."""
