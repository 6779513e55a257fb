"""`bianhe bench`: how fast this product is on this machine, as ratios within one run (infra/docs/performance.md)."""
