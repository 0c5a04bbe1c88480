#pragma once

#include "plan.h"

bool inputs_fresh(const struct plan *plan);
