"""Everything with memory: published runs, registered models, who is champion and why."""
