/* Parts of the planner that its files share; see nmbrl.h for what the planner is. */
#ifndef NMBRL_SEARCH_H
#define NMBRL_SEARCH_H

#include "nmbrl.h"

/* What random numbers are for: a word of their counter. Iterations draw from NMBRL_DRAWS onwards. */
enum { NMBRL_POLICY_NOISE = 0, NMBRL_DRAWS = 1 };

/* --- distribution.c: a distribution over plans, independent at every decision --------------------------------- */

/* Starts the search around plan i. */
void nmbrl_centre(nmbrl_planner *p, size_t i);

/* Fits to the elites and their weights. */
void nmbrl_fit(nmbrl_planner *p);

/* Draws a valid plan; sample: its number among those of this purpose. */
void nmbrl_draw(nmbrl_planner *p, uint32_t purpose, uint32_t sample, nmbrl_plan_row *plan);

/* Draws what makes policy samples differ: added to the policy's raw actions. */
void nmbrl_draw_policy_noise(nmbrl_planner *p, uint32_t sample, nmbrl_plan_row *plan);

/* Draws a plan of uniformly random actions. */
void nmbrl_draw_uniform(nmbrl_planner *p, uint32_t sample, nmbrl_plan_row *plan);

/* Writes the plan in the middle, valid. */
void nmbrl_mode(const nmbrl_planner *p, nmbrl_plan_row *plan);

/* --- imagination.c ---------------------------------------------------------------------------------------------- */

/* Scores plans first .. first + n - 1 from the belief. The first `guided` of them follow the policy: their rows hold
 * what is added to its raw action, and get the action taken. The last decision of the next `completed` ones is the
 * policy's too. */
void nmbrl_imagine_plans(nmbrl_planner *p, size_t first, size_t n, size_t guided, size_t completed);

#endif
