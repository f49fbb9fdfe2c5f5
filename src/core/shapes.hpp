#pragma once
// Shape letters used in every declaration of this project:
//   M members   A active members of a step   B rows of a batch   N rows of a set   C classes
//       D features   K maps   H, W height and width
