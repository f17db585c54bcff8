"""Contextual decomposition for transformers (CD-T, arXiv 2407.00886): what one source contributes to what follows.

Every activation is carried as a pair: beta, what the source caused, and gamma, the rest; their sum is the activation.
`linear`, `norm`, `activation` and `attention` hold the rules, each twice: for the pair, as defined, and for beta alone
where the whole is known. `architectures` says how networks of `transformers` are made of these parts. `plain` carries
the pair through a network word by word; `whole` and `relevant` do the same many times faster.
"""
