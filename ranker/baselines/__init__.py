"""The yardsticks: logistic regression and gradient-boosted trees."""
