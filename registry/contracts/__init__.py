"""Schemas of contracts and views: their ids, their versions per subject, who may see them."""
