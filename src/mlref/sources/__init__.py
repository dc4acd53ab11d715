"""Commands by which people change the data and the contract, outside of the stages."""
