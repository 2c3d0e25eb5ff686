"""Order allocation: a parent order split among execution algos whose fill rates are hidden."""
