"""The weights that vtok ships, each with its card; `vtok.model.registry` reads them."""
