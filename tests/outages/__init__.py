"""Kafka stands still or dies, again and again, under load: who comes back by itself, how soon, and is anything lost?"""
