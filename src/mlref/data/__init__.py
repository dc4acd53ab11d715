"""From the source to a training split and a held-out split."""
