"""Yandex accounts, Metrika counters and keys: what is set up once."""
