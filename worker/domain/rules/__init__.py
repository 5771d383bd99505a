"""May this message go, and when? Contact rules of a jurisdiction as data, decided by one pure function.

Read in this order: `vocabulary` (the words), `pack` (what a rule says), `facts` (what is known of one
message), `stack` (packs put together once), `hard`, `opening`, `caps` and `counting` (the rules themselves),
`decide`.
"""
