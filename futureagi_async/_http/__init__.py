"""Sends single requests: slots, retries, decoded responses. The only folder that uses HTTP for the API."""
