"""The maths of the three papers, as pure functions of tensors."""
