"""Yandex OAuth, as far as a Metrika client meets it: the consent page, codes, tokens and their end."""
