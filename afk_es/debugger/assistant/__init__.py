"""A log for coding assistants: read-only tools by which a model finds out why a recorded run went wrong.

Whoever reads here is a program that may take what it reads for orders, and whose memory is small. So what a log holds is quoted line by
line, without secrets and without marks that a model obeys, in pages; and every answer says how to get the rest and where to look next.
"""
