"""``goalpost sessions``: the rows of a site's own ``user_analytics`` as records of ``web.sessions``."""
