"""The stand-in server: `data` holds calls and lists, `wire` writes them as JSON, `web` answers requests.

Users hold `server.StandInServer`. Nothing in here imports the client: a stand-in that shared its code would
share its mistakes.
"""
