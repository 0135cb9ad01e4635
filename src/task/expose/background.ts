/** How a task goes on when the command that was typed has ended. */
export { continueInBackground, leaveForeground, takeBackground } from '../../host/background.js';
