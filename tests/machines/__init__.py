"""Several machines: network namespaces with cables that tests pull out."""
