"""The front door: what gets a 2xx is in Kafka, with the request body untouched inside."""
