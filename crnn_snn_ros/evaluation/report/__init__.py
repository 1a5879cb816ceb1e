"""The one report: a single HTML file that needs no network, composed of sections.

``page`` puts sections together and writes the file. Every other module makes sections of plain
numbers; ``replay_report`` and ``closed_loop`` are the two compositions that exist.
"""
