"""How the score depends on the number of training pages, and what more of them would bring.

May use the rooms up to `propose`; knows no Ray.
"""
