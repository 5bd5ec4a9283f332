"""Hard ground: scenes by another renderer, on photographs, with rivals, in other sizes and in other words."""
