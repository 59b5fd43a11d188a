"""The stand-in server, from the inside out: data, wire, query, web, faces; and motion, over the data.

Nothing in here imports the client: a stand-in that shared its code would share its mistakes.
"""
