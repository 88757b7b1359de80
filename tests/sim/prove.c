#include "prove.h"
int prove_guards(void){return 1;}
