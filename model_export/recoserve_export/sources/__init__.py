"""Reads models of any framework as two tables or a graph; a framework is imported only when one of its models is exported."""
